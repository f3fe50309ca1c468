package android.app;

public class Activity extends android.content.Context {
    public static final int RESULT_OK = -1;
    protected void onCreate(android.os.Bundle savedInstanceState) { throw new UnsupportedOperationException(); }
    protected void onDestroy() { throw new UnsupportedOperationException(); }
    protected void onActivityResult(int requestCode, int resultCode, android.content.Intent data) { throw new UnsupportedOperationException(); }
    public void setContentView(int layout) { throw new UnsupportedOperationException(); }
    public <T extends android.view.View> T findViewById(int id) { throw new UnsupportedOperationException(); }
    public final void runOnUiThread(Runnable action) { throw new UnsupportedOperationException(); }
    public void startActivityForResult(android.content.Intent intent, int requestCode) { throw new UnsupportedOperationException(); }
}
