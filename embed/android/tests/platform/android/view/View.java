package android.view;

public class View {
    public View(android.content.Context context) {}
    public static final int VISIBLE = 0;
    public static final int GONE = 8;
    public void setVisibility(int visibility) { throw new UnsupportedOperationException(); }
    public int getVisibility() { throw new UnsupportedOperationException(); }
    public void setEnabled(boolean enabled) { throw new UnsupportedOperationException(); }
    public boolean isEnabled() { throw new UnsupportedOperationException(); }
    public void setOnClickListener(OnClickListener listener) { throw new UnsupportedOperationException(); }
    public interface OnClickListener { void onClick(View view); }
}
