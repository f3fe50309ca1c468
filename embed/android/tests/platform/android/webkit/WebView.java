package android.webkit;

public class WebView extends android.view.View {
    public WebView(android.content.Context context) { super(context); }
    public WebSettings getSettings() { throw new UnsupportedOperationException(); }
    public WebViewClient getWebViewClient() { throw new UnsupportedOperationException(); }
    public void setWebViewClient(WebViewClient client) { throw new UnsupportedOperationException(); }
    public void loadUrl(String url) { throw new UnsupportedOperationException(); }
    public void evaluateJavascript(String script, ValueCallback<String> callback) { throw new UnsupportedOperationException(); }
}
